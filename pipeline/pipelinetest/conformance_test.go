package pipelinetest

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plumbline-sec/plumbline/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClusterConforms(t *testing.T) {
	RunLogConformance(t, func(t *testing.T) Backend {
		t.Helper()
		c := NewCluster()
		c.SetRebalanceTimeout(500 * time.Millisecond)
		return Backend{
			Log: c,
			CreateTopic: func(_ context.Context, name string, partitions int32, appendTime bool, maxMessage int) error {
				var opts []TopicOption
				if !appendTime {
					opts = append(opts, CreateTime())
				}
				if maxMessage != 0 {
					opts = append(opts, MaxMessage(maxMessage))
				}
				c.CreateTopic(name, partitions, opts...)
				return nil
			},
			DeleteRecords: c.DeleteRecords,
			Join: func(id string, topics ...string) (pipeline.Group, error) {
				return c.Group(id, topics...), nil
			},
			CommittedOffsets: c.CommittedOffsets,
		}
	})
}
