package forms_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

func TestMistakesInOptionsAreAllNamed(t *testing.T) {
	_, err := forms.New("otlp_spans", map[string]any{"encoding": "xml", "agent": []any{"a", 7.0}, "cloudevents": "yes", "agnet": "x", "resources": "r"})
	var mistakes decode.OptionErrors
	require.ErrorAs(t, err, &mistakes)
	keys := make([]string, len(mistakes))
	for i, m := range mistakes {
		keys[i] = m.Key
	}
	require.Equal(t, []string{"cloudevents", "encoding", "agent[1]", "resources", "agnet"}, keys)
	_, err = forms.New("xml", nil)
	require.EqualError(t, err, `there is no input form "xml"`)
}

func TestEveryFormIsBuiltWithoutOptions(t *testing.T) {
	for _, form := range forms.All() {
		if form.NeedsOptions {
			continue
		}
		require.NotNil(t, decodetest.New(t, form.Name, nil), form.Name)
		require.NotEmpty(t, form.Summary)
	}
}
