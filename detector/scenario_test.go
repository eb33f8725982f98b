package detector_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/scenario"
)

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.scenario"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 12)
	opt := scenario.Options{Detector: detector.DefaultConfig(), Tunes: true}
	opt.Detector.Version, opt.Detector.Hash = "test", "cafe"
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".scenario"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			cases, err := scenario.Read(name, string(text))
			require.NoError(t, err)
			require.Len(t, cases, 1)
			res, err := cases[0].Run(t.Context(), opt)
			require.NoError(t, err)
			_, err = detector.Load(res.Config, &recorder{}, res.Detector.Save())
			require.NoError(t, err, "what it has come to can be restored")
		})
	}
}
