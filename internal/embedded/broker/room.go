package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
)

// minFree is what the broker leaves free of its disk, in bytes: offsets can still
// be committed, and the ClickHouse beside it can end what it has begun. A disk that
// is full to the last byte has cost that one a part (see internal/embedded/chdb).
const minFree = 64 << 20

// full says that there is no room for more records, and how much there is.
func full(dir string) (free uint64, is bool) {
	if dir == "" {
		return 0, false
	}
	free, err := claim.Free(dir)
	return free, err == nil && free < minFree
}

// refuse answers a produce request as Kafka does where its disk fails.
func refuse(req *kmsg.ProduceRequest, free uint64) *kmsg.ProduceResponse {
	msg := fmt.Sprintf("the disk is full: %d MiB are free, the broker leaves %d MiB", free>>20, minFree>>20)
	return answerProduce(req, func(*kmsg.ProduceRequestTopicPartition) (int16, string) { return kerr.KafkaStorageError.Code, msg })
}
