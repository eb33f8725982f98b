package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIntervals(t *testing.T) {
	// Exact Poisson (Garwood): 10 seen, 4.795 to 18.39.
	assert.Equal(t, "1.00 (0.48 to 1.84; 10 in 1000 days)", share{Alerts: 10, AgentDays: 1000}.within(0.01))
	assert.Equal(t, "0.00 (0.00 to 0.37; 0 in 1000 days)", share{AgentDays: 1000}.within(0.01))
	assert.Equal(t, "80.0 % (49 to 94; 8 of 10)", wilson(8, 10))
	assert.Equal(t, "-", wilson(0, 0))
}

func TestSeparation(t *testing.T) {
	pos, neg := []float64{3, 2, 1}, []float64{2, 0, 0, 0}
	assert.InDelta(t, (4+3.5+3)/12, auc(pos, neg), 1e-12)
	assert.Equal(t, 1, above(pos, neg, 0.01), "a tie is not above")
	assert.Equal(t, 3, above(pos, neg, 0.25))
}

func TestAPictureIsXMLAndStaysWithinItsFrame(t *testing.T) {
	c := chart{title: "a < b", x: "x", y: "y", xLog: true, xLow: 0.1, xHigh: 10, yHigh: 37, yTicks: steps(37)}
	c.line(chartBlue, "", []point{{0, -5}, {1, 20}, {100, 1e9}})
	c.dots(chartBlue, 4, []point{{1, 1}})
	c.band(chartBandBlue, 1, []point{{1, 10}})
	c.mark(chartOrange, 3)
	c.explain(chartOrange, "an entry")
	d := xml.NewDecoder(strings.NewReader(c.svg()))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	assert.InDelta(t, chartHeight-chartBottom, c.py(-5), 1e-9)
	assert.InDelta(t, chartTop, c.py(1e9), 1e-9)
	require.Len(t, c.yTicks, 4)
	assert.InDelta(t, 10, c.yTicks[1].at, 1e-9)
	assert.False(t, math.IsNaN(c.px(0)))
}
