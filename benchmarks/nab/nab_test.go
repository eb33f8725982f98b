package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestASpikeAndALevelStandOutOnceAndEveryRowIsThere(t *testing.T) {
	data, out := t.TempDir(), t.TempDir()
	file := filepath.Join(data, "data", "made", "daily.csv")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
	var b strings.Builder
	b.WriteString("timestamp,value\n")
	at := time.Date(2024, 4, 1, 0, 0, 0, 0, time.UTC)
	const rows, spike, level = 4000, 2500, 3200
	for i := range rows {
		x := 50 + 20*math.Sin(2*math.Pi*float64(i)/288) + float64(i*7919%13)/10
		switch {
		case i == spike:
			x += 200
		case i >= level:
			x += 90
		}
		fmt.Fprintf(&b, "%s,%g\n", at.Add(time.Duration(i)*5*time.Minute).Format(time.DateTime), x)
	}
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	require.NoError(t, run(data, out, io.Discard))

	text, err := os.ReadFile(filepath.Join(out, "made", "plumbline_daily.csv"))
	require.NoError(t, err)
	lines, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"timestamp", "value", "anomaly_score"}, lines[0])
	require.Len(t, lines, rows+1)
	loud := map[int]bool{}
	for i, l := range lines[1:] {
		s, err := strconv.ParseFloat(l[2], 64)
		require.NoError(t, err)
		require.True(t, s >= 0 && s < 1)
		if i > 600 && s > 0.15 {
			loud[i] = true
		}
	}
	assert.True(t, loud[spike])
	assert.True(t, loud[level] || loud[level+1] || loud[level+2])
	assert.Less(t, len(loud), 12, "%v", loud)
}

func TestADirectoryWithoutSeriesIsSaid(t *testing.T) {
	require.ErrorContains(t, run(t.TempDir(), t.TempDir(), io.Discard), "it must hold data/CATEGORY/FILE.csv")
}
