package detector_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestModelRatiosSayHowOftenModelsAloneWouldHaveAlerted(t *testing.T) {
	cfg := detector.DefaultConfig()
	cfg.Signals = map[string]detector.SignalConfig{schemas.SignalSilence: {Off: true}}
	ratios := func(budget float64) map[string]float64 {
		c := cfg
		c.AlertsPerAgentDay = budget
		d := detector.Started(t, c, &recorder{})
		require.Empty(t, d.ModelRatios(), "nobody has been watched")
		f := newFleet(3, 25)
		for day := range 21 {
			for _, ev := range f.day(day) {
				d.Process(&ev)
			}
		}
		out := map[string]float64{}
		for _, r := range d.ModelRatios() {
			require.False(t, math.IsNaN(r.Ratio) || math.IsInf(r.Ratio, 0) || r.Ratio < 0, "%+v", r)
			out[r.Signal] = r.Ratio
		}
		return out
	}
	few, many := ratios(0.01), ratios(2)
	require.Contains(t, few, schemas.SignalCallRate)
	require.NotContains(t, few, schemas.SignalSilence, "it is off")
	require.Positive(t, many[schemas.SignalCallRate])
	require.Less(t, many[schemas.SignalCallRate], 3.0, "near the bulk the model of rates is about right")
}
