package terminal

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestACutStringFitsItsCells(t *testing.T) {
	for s, want := range map[string]string{
		"short": "short", "exactly10!": "exactly10!", "more than ten": "more than…", "日本語テスト語": "日本語テ…", "日本語テス": "日本語テス",
		"e\u0301e\u0301": "e\u0301e\u0301",
	} {
		require.Equal(t, want, Cut(s, 10))
		require.LessOrEqual(t, Cells(Cut(s, 10)), 10)
	}
}

func TestNoCharacterIsTornHoweverNarrowTheColumn(t *testing.T) {
	require.Equal(t, []string{"世", "界", "a"}, Wrap("世界a", 1, 5))
	require.Equal(t, []string{"世", "界"}, Wrap("世界", 2, 5))
}

func TestProseIsFoldedAtItsSpacesAndWordsStayWhole(t *testing.T) {
	long := strings.Repeat("x", 30)
	for text, want := range map[string][]string{
		"short": {"short"}, "two words more": {"two words", "more"}, "日本語 テスト語": {"日本語", "テスト語"},
		long: {long}, "a " + long + " b": {"a", long, "b"}, "wide  gap at end": {"wide  gap", "at end"},
	} {
		require.Equal(t, want, Fold(text, 10))
		require.Equal(t, []string{text}, Fold(text, 0))
	}
}

func TestALongTextIsFoldedInTimeThatGrowsAsItDoes(t *testing.T) {
	begin := time.Now()
	require.Greater(t, len(Fold(strings.Repeat("日 本", 1<<18), 80)), 1000)
	require.Greater(t, len(Wrap(strings.Repeat("日 本", 1<<18), 80, 10_000)), 1000)
	require.Less(t, time.Since(begin), 30*time.Second) // minutes, where each line looks at all that is left
}
