package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake accepts message.timestamp.type=LogAppendTime and then stores whatever
// time the producer sent. A producer could so choose the time under which its
// records are kept, which is what the setting exists to prevent. Therefore every
// batch for such a topic is restamped before kfake appends it.
//
// What differs from Kafka: there the batch carries a flag (attributes bit 3) and
// one time for all its records, and the deltas inside stay. Here the flag stays
// off, because kfake would overwrite the times again after the checksum was
// made, and so corrupt the batch; instead the base time is the broker's and every
// record's delta is zero. A consumer sees the same times either way, also one
// that knows nothing of the flag.

// A record batch of format 2, by offset.
const (
	atLength    = 8
	atMagic     = 16
	atCRC       = 17
	atAttrs     = 21
	atFirstTime = 27
	atMaxTime   = 35
	atCount     = 57
	atRecords   = 61

	attrCodec      = 0x07
	attrAppendTime = 0x08
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func restampRequest(cluster *kfake.Cluster, req *kmsg.ProduceRequest, now time.Time, log zerolog.Logger) {
	for i := range req.Topics {
		topic := &req.Topics[i]
		var info *kfake.TopicInfo
		if req.Version >= 13 {
			info = cluster.TopicIDInfo(topic.TopicID)
		} else {
			info = cluster.TopicInfo(topic.Topic)
		}
		if info == nil {
			continue // kfake refuses it
		}
		kind := info.Configs["message.timestamp.type"]
		appendTime := kind != nil && *kind == "LogAppendTime"
		for j := range topic.Partitions {
			batch := topic.Partitions[j].Records
			if !appendTime && (len(batch) < atRecords || batch[atAttrs+1]&attrAppendTime == 0) {
				continue
			}
			stamped, err := restamp(batch, appendTime, now)
			if err != nil {
				// Passed on as it came: kfake judges it and answers the producer.
				log.Debug().Err(err).Str("topic", info.Topic).Msg("embedded kafka: batch not restamped")
				continue
			}
			topic.Partitions[j].Records = stamped
		}
	}
}

var errBatch = errors.New("malformed record batch")

// restamp returns the batch with the append-time flag off and, if appendTime, with
// now as the time of every record. The input is not changed. A batch that is not
// whole and sound is refused: a new checksum must not cover old damage.
func restamp(batch []byte, appendTime bool, now time.Time) ([]byte, error) {
	if len(batch) < atRecords || batch[atMagic] != 2 {
		return nil, fmt.Errorf("%w: no header of format 2", errBatch)
	}
	if int(binary.BigEndian.Uint32(batch[atLength:])) != len(batch)-atLength-4 {
		return nil, fmt.Errorf("%w: wrong length", errBatch)
	}
	if binary.BigEndian.Uint32(batch[atCRC:]) != crc32.Checksum(batch[atAttrs:], castagnoli) {
		return nil, fmt.Errorf("%w: wrong checksum", errBatch)
	}
	records := batch[atRecords:]
	if appendTime {
		var err error
		if records, err = zeroDeltas(batch); err != nil {
			return nil, err
		}
	}
	out := make([]byte, 0, atRecords+len(records))
	out = append(out, batch[:atRecords]...)
	out = append(out, records...)
	binary.BigEndian.PutUint32(out[atLength:], uint32(len(out)-atLength-4))
	out[atAttrs+1] &^= attrAppendTime
	if appendTime {
		binary.BigEndian.PutUint64(out[atFirstTime:], uint64(now.UnixMilli()))
		binary.BigEndian.PutUint64(out[atMaxTime:], uint64(now.UnixMilli()))
	}
	binary.BigEndian.PutUint32(out[atCRC:], crc32.Checksum(out[atAttrs:], castagnoli))
	return out, nil
}

// zeroDeltas returns the records of a batch, compressed as they were, with every
// time delta zero; the same bytes where they are so already, which is the common
// case (a producer that stamps a batch once).
func zeroDeltas(batch []byte) ([]byte, error) {
	codec := batch[atAttrs+1] & attrCodec
	count := int32(binary.BigEndian.Uint32(batch[atCount:]))
	size, zero, err := deltasOf(codec, batch[atRecords:], count)
	if err != nil || zero {
		return batch[atRecords:], err
	}
	plain, err := unpack(codec, batch[atRecords:], size)
	if err != nil {
		return nil, fmt.Errorf("decompress records: %w", err)
	}
	zeroed, err := zeroPlain(plain, int(count))
	if err != nil || codec == codecNone {
		return zeroed, err
	}
	return compress(zeroed, kgo.CompressionCodecType(codec))
}

// deltasOf reads through records: how long they are, and whether their deltas are all
// zero.
func deltasOf(codec byte, packed []byte, count int32) (size int64, zero bool, err error) {
	u, err := newUnpacker(codec, packed, maxUnpacked)
	if err != nil {
		return 0, false, fmt.Errorf("decompress records: %w", err)
	}
	defer u.release()
	headers := int64(maxHeaders)
	for i := range int64(count) {
		if err := u.record(i, &headers); err != nil {
			return 0, false, fmt.Errorf("%w: record %d of %d: %w", errBatch, i, count, err)
		}
	}
	if _, err := u.byte(); !errors.Is(err, io.EOF) {
		return 0, false, fmt.Errorf("%w: bytes after the last record", errBatch)
	}
	return u.came, !u.moved, nil
}

// zeroPlain walks uncompressed records (length, attributes, time delta, rest) and
// writes them back over themselves: with a zero for a time none is longer, and none
// overtakes what was not read yet.
func zeroPlain(plain []byte, count int) ([]byte, error) {
	out := plain[:0]
	for range count {
		length, n := binary.Varint(plain)
		if n <= 0 || length < 3 || length > int64(len(plain)-n) {
			return nil, fmt.Errorf("%w: record length", errBatch)
		}
		record := plain[n : n+int(length)]
		plain = plain[n+int(length):]
		_, m := binary.Varint(record[1:])
		if m <= 0 {
			return nil, fmt.Errorf("%w: record time", errBatch)
		}
		attributes := record[0]
		out = binary.AppendVarint(out, length-int64(m)+1)
		out = append(out, attributes, 0)
		out = append(out, record[1+m:]...)
	}
	return out, nil
}

// compress packs records with a codec that unpack knows.
func compress(plain []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	compressor, err := kgo.DefaultCompressor(codecs[codec])
	if err != nil {
		return nil, fmt.Errorf("compress records: %w", err)
	}
	out, used := compressor.Compress(new(bytes.Buffer), plain)
	if used != codec {
		return nil, fmt.Errorf("%w: compression %d is not available", errBatch, codec)
	}
	return out, nil
}
