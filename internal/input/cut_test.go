package input_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/input"
)

func TestAStreamThatIsCutOffAnywhereIsAnError(t *testing.T) {
	for name, all := range map[string]string{"gzip": gzipped("{\"a\":1}\n{}\n"), "zstd": zstded("{\"a\":1}\n{}\n")} {
		for n := 3; n < len(all); n++ {
			r := input.NewReader(t.Context(), name, strings.NewReader(all[:n]), input.Options{MaxRecord: 1 << 20})
			var err error
			for err == nil {
				_, err = r.Next()
			}
			require.NotErrorIs(t, err, io.EOF, "%s, %d bytes", name, n)
		}
	}
}

func TestAListOfPlainValuesIsNotCalledCSV(t *testing.T) {
	_, err := input.NewReader(t.Context(), "x", strings.NewReader("[1,2,3]\n"), input.Options{MaxRecord: 1 << 20}).Next()
	require.ErrorContains(t, err, "this is not JSON lines")
	require.NotContains(t, err.Error(), "CSV")
}
