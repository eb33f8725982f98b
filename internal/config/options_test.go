package config

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

func TestAMistakeInTheOptionsOfADecoderIsNamedWithItsLine(t *testing.T) {
	t.Setenv("TENANT", "org")
	forms := Forms{Decoders: []string{"otlp_spans"}, Formats: testForms.Formats, CheckDecoder: func(name string, options map[string]any) error {
		_, err := forms.New(name, options)
		return err
	}}
	const good = `sources:
  - name: traces
    topic: otlp
    decoder: otlp_spans
    options:
      agent: [gen_ai.agent.id, service.name]
      tenant: ${TENANT}
      content: true
      resources: {db.name: database}
`
	cfg, err := Parse("good.yaml", []byte(good), forms)
	require.NoError(t, err)
	require.Equal(t, Tree{
		"agent": []any{"gen_ai.agent.id", "service.name"}, "tenant": "org", "content": true, "resources": map[string]any{"db.name": "database"},
	}, cfg.Sources[0].Options)

	const bad = `sources:
  - name: traces
    topic: otlp
    decoder: otlp_spans
    options:
      agent:
        - gen_ai.agent.id
        - 7
      content: "true"
      contnet: true
      other: &x all
`
	_, err = Parse("bad.yaml", []byte(bad), forms)
	var mistakes *Error
	require.ErrorAs(t, err, &mistakes)
	lines := map[string]int{}
	for _, m := range mistakes.Mistakes {
		lines[m.Key] = m.Line
	}
	require.Equal(t, map[string]int{
		"sources[0].options.agent[1]": 8, "sources[0].options.content": 9, "sources[0].options.contnet": 10, "sources[0].options.other": 11,
	}, lines)
}
