package broker

import (
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a small request may make kfake do. It does what it is asked: two thousand
// million partitions, an answer of 2 GiB, the same group described a hundred thousand
// times.
const (
	// maxPartitions is what one request may create: a partition costs a kilobyte, a
	// directory and, at the next start, a goroutine.
	maxPartitions = 1000
	// maxFetch is Kafka's fetch.max.bytes: kfake holds an answer twice, and keeps the
	// memory until the connection ends.
	maxFetch = 55 << 20
	// maxLookups bounds the offsets that are asked for by time in one request: for each
	// a batch is unpacked, while nobody else is answered.
	maxLookups = 100
)

// controlLife is how many requests one control function sees before it is replaced.
// kfake remembers the last request of every connection that a control function ever
// saw, closed connections included, for as long as the function is installed.
const controlLife = 512

// intercept has handle see every request of its kind before kfake does. What it
// returns is the answer; nil leaves the request to kfake.
func intercept[R kmsg.Request](cluster *kfake.Cluster, handle func(R) kmsg.Response) {
	var kind R
	key := kind.Key()
	seen := 0 // control functions run one at a time
	cluster.ControlKey(key, func(req kmsg.Request) (kmsg.Response, error, bool) {
		var res kmsg.Response
		if r, ok := req.(R); ok {
			res = handle(r)
		}
		if seen++; seen == controlLife {
			intercept(cluster, handle)
			cluster.DropControl()
		} else if res != nil {
			cluster.KeepControl()
		}
		return res, nil, res != nil
	})
}

// interceptAll installs what stands between a request and kfake.
func interceptAll(cluster *kfake.Cluster, dir string, in *inspector, log zerolog.Logger) {
	intercept(cluster, func(req *kmsg.ProduceRequest) kmsg.Response {
		if req.Acks != 0 { // without acks nobody listens, and kfake drops what is no batch
			if free, is := full(dir); is {
				return refuse(req, free)
			}
			if res := in.answerRefused(req); res != nil {
				return res
			}
		}
		restampRequest(cluster, req, time.Now(), log)
		return nil
	})
	intercept(cluster, func(req *kmsg.FetchRequest) kmsg.Response {
		req.MaxBytes = min(req.MaxBytes, maxFetch)
		if req.SessionEpoch == 0 {
			// A session would remember every partition that was ever named in it. The
			// client is told that it has none, as by a broker that has enough of them.
			req.SessionID, req.SessionEpoch = 0, -1
		}
		return nil
	})
	intercept(cluster, func(req *kmsg.ShareFetchRequest) kmsg.Response {
		// What it answers is bounded by a number of records, each of which may be in a
		// batch of its own, and by nothing else.
		msg := "the embedded broker has no share groups"
		res := req.ResponseKind().(*kmsg.ShareFetchResponse) //nolint:forcetypeassert // by construction
		res.ErrorCode, res.ErrorMessage = kerr.UnsupportedVersion.Code, &msg
		return res
	})
	intercept(cluster, boundCreateTopics)
	intercept(cluster, boundCreatePartitions)
	intercept(cluster, boundListOffsets)
	intercept(cluster, func(req *kmsg.DescribeGroupsRequest) kmsg.Response {
		req.Groups = unique(req.Groups, func(g string) string { return g })
		return nil
	})
	intercept(cluster, func(req *kmsg.OffsetFetchRequest) kmsg.Response {
		req.Groups = unique(req.Groups, func(g kmsg.OffsetFetchRequestGroup) string { return g.Group })
		return nil
	})
}

// unique leaves the first of what is named several times.
func unique[E any](list []E, name func(E) string) []E {
	if len(list) < 2 {
		return list
	}
	seen := make(map[string]struct{}, len(list))
	out := list[:0]
	for _, e := range list {
		if _, ok := seen[name(e)]; !ok {
			seen[name(e)] = struct{}{}
			out = append(out, e)
		}
	}
	return out
}

// tooMany says that topics ask for more partitions than one request may create.
func tooMany[T any](topics []T, partitions func(*T) int) (refusal *string) {
	n := 0
	for i := range topics {
		n += max(1, partitions(&topics[i]))
	}
	if n <= maxPartitions {
		return nil
	}
	msg := "the embedded broker creates at most 1000 partitions in one request"
	return &msg
}

func boundCreateTopics(req *kmsg.CreateTopicsRequest) kmsg.Response {
	msg := tooMany(req.Topics, func(t *kmsg.CreateTopicsRequestTopic) int { return max(int(t.NumPartitions), len(t.ReplicaAssignment)) })
	if msg == nil {
		return nil
	}
	res := req.ResponseKind().(*kmsg.CreateTopicsResponse) //nolint:forcetypeassert // by construction
	for i := range req.Topics {
		topic := kmsg.NewCreateTopicsResponseTopic()
		topic.Topic, topic.ErrorCode, topic.ErrorMessage = req.Topics[i].Topic, kerr.InvalidPartitions.Code, msg
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func boundCreatePartitions(req *kmsg.CreatePartitionsRequest) kmsg.Response {
	msg := tooMany(req.Topics, func(t *kmsg.CreatePartitionsRequestTopic) int { return int(t.Count) })
	if msg == nil {
		return nil
	}
	res := req.ResponseKind().(*kmsg.CreatePartitionsResponse) //nolint:forcetypeassert // by construction
	for i := range req.Topics {
		topic := kmsg.NewCreatePartitionsResponseTopic()
		topic.Topic, topic.ErrorCode, topic.ErrorMessage = req.Topics[i].Topic, kerr.InvalidPartitions.Code, msg
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func boundListOffsets(req *kmsg.ListOffsetsRequest) kmsg.Response {
	lookups := 0
	for i := range req.Topics {
		for _, p := range req.Topics[i].Partitions {
			if p.Timestamp >= 0 || p.Timestamp == -3 { // -3: of the greatest time
				lookups++
			}
		}
	}
	if lookups <= maxLookups {
		return nil
	}
	res := req.ResponseKind().(*kmsg.ListOffsetsResponse) //nolint:forcetypeassert // by construction
	for i := range req.Topics {
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = req.Topics[i].Topic
		for _, p := range req.Topics[i].Partitions {
			part := kmsg.NewListOffsetsResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, kerr.InvalidRequest.Code
			topic.Partitions = append(topic.Partitions, part)
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}
