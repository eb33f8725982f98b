package schemas_test

import (
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
)

func TestPartitionIsThatOfKafkasOwnPartitioner(t *testing.T) {
	// Hashes from Kafka's own UtilsTest.
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string":                       -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		for _, n := range []int32{1, 2, 3, 7, 64, 1000, 1<<31 - 1} {
			require.Equal(t, (hash&0x7fffffff)%n, schemas.Partition([]byte(key), n), "%q of %d", key, n)
		}
	}
}

func TestPartitionAgreesWithKafkaGo(t *testing.T) {
	partitions := make([]int, 17)
	for i := range partitions {
		partitions[i] = i
	}
	balancer := kafka.Murmur2Balancer{}
	key := []byte{}
	for i := range 300 {
		key = append(key, byte(i*7))
		want := balancer.Balance(kafka.Message{Key: key}, partitions...)
		require.Equal(t, int32(want), schemas.Partition(key, 17), "key of %d bytes", len(key))
	}
}

func TestAnOriginIsReadAsItWasWritten(t *testing.T) {
	for _, o := range []schemas.Origin{
		{Source: "default", Incarnation: 1, Topic: "agent-activity"},
		{Source: "a.b_c-d", Incarnation: 1<<32 - 1, Topic: "T", Partition: 1<<31 - 1, Offset: 1<<63 - 1, Index: 1<<31 - 1},
	} {
		got, err := schemas.ParseOrigin([]byte(o.String()))
		require.NoError(t, err)
		assert.Equal(t, o, got)
	}
}
