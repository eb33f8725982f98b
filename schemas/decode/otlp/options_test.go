package otlp

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThereIsASlotForEveryNameThatOptionsMayBring(t *testing.T) {
	require.Less(t, len(newNameTable(nil).names)+maxNames, int(noSlot))
}

func TestTheDocumentationPageHasTheDefaultsOfOptions(t *testing.T) {
	page, err := os.ReadFile("../../../docs/sources-opentelemetry.md")
	require.NoError(t, err)
	o := defaultOptions()
	for _, row := range []string{
		"| `encoding` | `" + o.Encoding + "` |", "| `tenant` | `" + o.Tenant + "` |", "| `other` | `" + o.Other + "` |",
		"| `resource` | `" + strings.Join(o.Resource, "`, `") + "` |",
		"option `agent`: `" + strings.Replace(strings.Join(o.Agent, "`, `"), "`enclosing`", "the agent span around it", 1) + "` |",
	} {
		require.Contains(t, string(page), row)
	}
}
