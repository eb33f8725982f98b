package wire_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// record walks one value of every kind.
type record struct {
	a    uint64
	b    int64
	c    float64
	d    float32
	e    bool
	s    string
	raw  []byte
	list []string
	u16  uint16
	h    uint64
	g    uint32
}

func (r *record) code(c *wire.Coder) {
	c.U64("a", &r.a)
	c.I64("b", &r.b)
	c.F64("c", &r.c)
	c.F32("d", &r.d)
	c.Bool("e", &r.e)
	c.String("s", &r.s, 100)
	c.Raw("raw", &r.raw, 100)
	c.Strings("list", &r.list, 10, 100)
	c.U16("u16", &r.u16)
	c.Fixed64("h", &r.h)
	c.Fixed32("g", &r.g)
}

func sample() record {
	return record{
		math.MaxUint64, math.MinInt64, -1.5e-300, 3.25, true, "text \x00\xff",
		[]byte{1, 2},
		[]string{"", "b"},
		65535, 1 << 63, 7,
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	in := sample()
	e := wire.Encoder(nil)
	in.code(e)
	var out record
	d := wire.Decoder(e.Bytes())
	out.code(d)
	require.NoError(t, d.Err())
	require.Empty(t, d.Bytes())
	require.Equal(t, in, out)
}

func TestWhatIsCutOffIsAnErrorAndNoPanic(t *testing.T) {
	in := sample()
	e := wire.Encoder(nil)
	in.code(e)
	for n := range len(e.Bytes()) {
		var out record
		d := wire.Decoder(e.Bytes()[:n])
		out.code(d)
		require.ErrorIs(t, d.Err(), wire.ErrCorrupt, "cut to %d bytes", n)
	}
}

func TestNumbersThatAreNotFiniteAndListsThatAreTooLongAreRefused(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		e := wire.Encoder(nil)
		e.F64("", &bad)
		d := wire.Decoder(e.Bytes())
		var got float64
		d.F64("", &got)
		require.ErrorIs(t, d.Err(), wire.ErrCorrupt)
		require.Zero(t, got)
	}
	e := wire.Encoder(nil)
	e.Uint("", 1<<40, 1<<50)
	d := wire.Decoder(e.Bytes())
	require.Zero(t, d.Len("", 0, 1<<50, 8), "a length beyond the input allocates nothing")
	require.ErrorIs(t, d.Err(), wire.ErrCorrupt)
}
