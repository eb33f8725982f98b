package main

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"testing"

	"gonum.org/v1/plot/plotter"

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

func TestAPictureIsXMLAndKeepsItsPointsInTheFrame(t *testing.T) {
	dir := t.TempDir()
	c := newPicture("a < b", axis("x", 0.1, 10), axis("y", 0, 37))
	outside := plotter.XYs{{X: 0, Y: -5}, {X: 1, Y: 20}, {X: 100, Y: 1e9}}
	assert.Equal(t, plotter.XYs{{X: 0.1, Y: 0}, {X: 1, Y: 20}, {X: 10, Y: 37}}, c.within(outside))
	c.curve("a curve", blue, outside)
	c.band("a band", 1, plotter.XYs{{X: 1, Y: 10}})
	require.NoError(t, c.save(dir, "picture.svg"))
	text, err := os.ReadFile(filepath.Join(dir, "picture.svg"))
	require.NoError(t, err)
	require.NoError(t, xml.Unmarshal(text, &struct{}{}))
	assert.Contains(t, string(text), "a band")
}
