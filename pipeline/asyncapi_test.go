package pipeline_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestTheDescriptionOfTheTopicsNamesThemAndTheirHeaders(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "schemas", "asyncapi.yaml"))
	require.NoError(t, err)
	var doc struct {
		Channels   map[string]struct{ Address string }
		Components struct {
			Messages map[string]struct {
				Headers struct{ Properties map[string]any }
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &doc))
	var topics []string
	for _, c := range doc.Channels {
		topics = append(topics, c.Address)
	}
	require.ElementsMatch(t, []string{
		sourceTopic, ocsfTopic, pipeline.TopicActivity, pipeline.TopicAlerts, pipeline.TopicWindows, pipeline.TopicBaselines, pipeline.TopicDeadLetter,
	}, topics)
	headers := func(message string) []string {
		return slices.Collect(maps.Keys(doc.Components.Messages[message].Headers.Properties))
	}
	require.ElementsMatch(t, []string{schemas.OriginHeader}, headers("canonicalEvent"))
	require.ElementsMatch(t, []string{schemas.RecordHeader}, headers("tick"))
	require.ElementsMatch(t, []string{pipeline.HeaderAlertID, pipeline.HeaderSource}, headers("siemAlert"))
	require.ElementsMatch(t, []string{
		pipeline.HeaderReason, pipeline.HeaderField, pipeline.HeaderDetail, pipeline.HeaderSourceTopic, pipeline.HeaderSourcePartition,
		pipeline.HeaderSourceOffset, schemas.OriginHeader, pipeline.HeaderRefused, pipeline.HeaderCut,
	}, headers("deadLetter"))
}
