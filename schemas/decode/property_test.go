package decode_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomString(r *rand.Rand) string {
	switch r.IntN(12) {
	case 0:
		return `"` + strings.Repeat(pick(r, "x", "é", "\xff", `\u00e9`, `\ud800`, `\n`, "a:b"), r.IntN(6000)) + `"`
	case 1:
		return pick(r, `"read"`, `"send"`, `"denied"`, `"success"`, `"Read"`, `"read write"`)
	case 2:
		return pick(r, `"2024-06-03T08:00:03.1234Z"`, `"2024-02-30T00:00:00Z"`, `"2024-02-29t23:59:60+05:30"`, `"2300-01-01T00:00:00Z"`,
			`"1969-12-31T23:59:59.999Z"`, `"9999-12-31T23:59:59-00:01"`, `"2024-06-03T08:00:03"`, `"2024-06-03T24:00:03Z"`, `"2024-06-03T08:00:03.Z"`, `"0000-01-01T00:00:00Z"`)
	}
	var b strings.Builder
	b.WriteByte('"')
	for range r.IntN(20) {
		b.WriteString(pick(r, "a", "b", ":", "/", " ", "é", "😀", `\"`, `\\`, `\/`, `\u0000`, `\u0041`, `\ud83d\ude00`, `\udc00`, `\ud83d`, "\xc3", "\xed\xa0\x80", `\b`, `\ufffd`, "\ufffd", "}", "]", ","))
	}
	b.WriteByte('"')
	return b.String()
}

func randomValue(r *rand.Rand, deep int) string {
	list := func(element func() string) string {
		items := make([]string, r.IntN(4))
		for i := range items {
			items[i] = element() + pick(r, "", " ", "\n\t")
		}
		return strings.Join(items, pick(r, ",", " , "))
	}
	n := 6
	if deep > 5 {
		n = 4
	}
	switch r.IntN(n) {
	case 0:
		return pick(r, "null", "true", "false")
	case 1:
		return pick(r, "0", "-0", "7", "1717401603000", "1e3", "12.50E1", "0.5", "-3", "18446744073709551615", "18446744073709551616", "1e400", "1e-2", "100e-2",
			"184467440737095516150e-1", "0e99999999999", "253402300800000", "0.00000000000000000000000000000001e40")
	case 4:
		return "[" + list(func() string { return randomValue(r, deep+1) }) + "]"
	case 5:
		return "{" + list(func() string { return randomString(r) + ":" + randomValue(r, deep+1) }) + "}"
	}
	return randomString(r)
}

func randomEvent(r *rand.Rand) string {
	members := []string{}
	add := func(key, value string) {
		members = append(members, pick(r, "", " ")+`"`+key+`"`+pick(r, "", " ")+":"+pick(r, "", "\n")+value)
	}
	if r.IntN(10) > 0 {
		add("agent_id", pick(r, `"a"`, `"a"`, `"travel/user_task_1"`, `"é"`, `""`, randomValue(r, 0)))
	}
	if r.IntN(3) == 0 {
		add(pick(r, "tenant_id", `tenant\u005fid`), pick(r, `"acme"`, `"a.B-9_"`, `"a b"`, `""`, "null", randomValue(r, 0)))
	}
	for range r.IntN(12) {
		add(pick(r, fieldOrder...), randomValue(r, 0))
	}
	for range r.IntN(3) {
		add(pick(r, "recorded_at", "flags", "x", "Time", "", "x\xff"), randomValue(r, 0))
	}
	if r.IntN(3) == 0 {
		list := make([]string, r.IntN(400))
		for i := range list {
			list[i] = fmt.Sprintf(`"file:%d"`, i)
		}
		add("resources", "["+strings.Join(list, ",")+"]")
	}
	if r.IntN(3) == 0 {
		list := make([]string, r.IntN(400))
		for i := range list {
			list[i] = fmt.Sprintf(`"k%d":%d`, r.IntN(400), i)
		}
		add("attributes", "{"+strings.Join(list, ",")+"}")
	}
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	doc := "{" + strings.Join(members, ",") + "}"
	if r.IntN(20) == 0 { // break it
		i := r.IntN(len(doc))
		doc = doc[:i] + pick(r, "", "}", `"`, ",", "\\", "\x80") + doc[i+r.IntN(2):]
	}
	return doc
}

func TestAnyEventIsReadAsTheStandardLibraryReadsIt(t *testing.T) {
	public, canonical := decode.NewActivity(), decode.NewCanonical()
	taken := 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 1))
		doc := strings.NewReplacer("\n", " ", "\t", " ").Replace(randomEvent(r))
		ev, _ := decodeOne(t, public, doc)
		want := reference([]byte(doc), decodetest.Time, "agent-activity/3/41")
		if ev != nil {
			taken++
			written := schemas.AppendActivity(nil, ev)
			again, refusal := decodeOne(t, canonical, string(written))
			require.Nil(t, refusal, "seed %d: %s", seed, written)
			require.Equal(t, ev, again, "seed %d: %s", seed, written)
		}
		if diff := differences(want, ev); diff != "" {
			t.Fatalf("seed %d: %q (-encoding/json +decoder):\n%s", seed, doc, diff)
		}
	}
	require.Greater(t, taken, 500, "too few documents are good ones for this to mean anything")
}
