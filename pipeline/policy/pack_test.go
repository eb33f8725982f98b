package policy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline/policy/policytest"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestASetThatIsUnpackedDecidesAsTheOneThatWasPacked(t *testing.T) {
	files := []File{{"a.cedar", []byte("// \xff\n@id(\"a\") permit (principal, action, resource);")}, {"b.cedar", []byte("\n\nforbid (principal, action, resource) when { context.tool == \"x\" };")}, {"empty.cedar", nil}}
	for _, opt := range []Options{{}, {DefaultDeny: true}, {Observe: true}, {DefaultDeny: true, Observe: true}} {
		set, err := Parse(files, opt)
		require.NoError(t, err)
		again, err := Unpack(set.Packed())
		require.NoError(t, err)
		require.Equal(t, set.Hash(), again.Hash())
		require.Equal(t, set.Packed(), again.Packed())
		require.Equal(t, set.Policies(), again.Policies(), "places included")
		require.Equal(t, opt, again.opt)
	}
	none, err := Parse(nil, Options{})
	require.NoError(t, err)
	require.Empty(t, none.Packed())
	deny, err := Parse(nil, Options{DefaultDeny: true})
	require.NoError(t, err)
	require.NotEmpty(t, deny.Packed())
	none, err = Unpack(nil)
	require.NoError(t, err)
	require.Empty(t, none.NewDecider().Decide(nil, &schemas.Activity{TenantID: "t", AgentID: "a"}, nil, ""))
	require.Len(t, none.NewDecider().Decide(nil, &schemas.Activity{TenantID: "t", AgentID: "a"}, &schemas.Registration{Tools: []string{}}, ""), 1, "grants decide without policies")
}

func TestWhatWasNotPackedIsRefused(t *testing.T) {
	set, err := Parse([]File{{"fleet.cedar", policytest.Fleet(100)}}, Options{})
	require.NoError(t, err)
	packed := set.Packed()
	for n := 1; n < len(packed); n += 97 {
		_, err = Unpack(packed[:n])
		require.Error(t, err)
	}
	_, err = Unpack([]byte("not packed"))
	require.Error(t, err)
	large, err := Parse([]File{{"fleet.cedar", policytest.Fleet(10_000)}}, Options{})
	require.NoError(t, err)
	require.Less(t, len(large.Packed()), 128<<10, "what the state has to hold of 10,000 policies")
}
