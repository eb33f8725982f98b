package chdb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAPackageThatIsNotThePinnedOneIsNotInstalled(t *testing.T) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zip)
	require.NoError(t, archive.WriteHeader(&tar.Header{Name: "package/" + libraryName, Mode: 0o755, Size: 4}))
	_, err := archive.Write([]byte("evil"))
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	require.NoError(t, zip.Close())
	for name, tc := range map[string]struct {
		body    []byte
		corrupt bool
	}{
		"another package":  {packed.Bytes(), true},
		"half a package":   {packed.Bytes()[:packed.Len()/2], false},
		"an error page":    {[]byte("<html>proxy login</html>"), false},
		"nothing":          {nil, false},
		"a package's tail": {append(bytes.Clone(packed.Bytes()), "more"...), false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := unpack(bytes.NewReader(tc.body), dir, newProgress(nil))
			require.Error(t, err)
			if tc.corrupt {
				require.ErrorIs(t, err, ErrCorrupt)
			}
			left, err := filepath.Glob(filepath.Join(dir, "*"))
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

func TestTheProgressOfADownloadIsToldInTenths(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	for range 100 {
		_, err := p.Write(make([]byte, packageSize/100))
		require.NoError(t, err)
	}
	p.end()
	assert.LessOrEqual(t, bytes.Count(out.Bytes(), []byte("\n")), 10)
	assert.Contains(t, out.String(), " 50 %")
	assert.Contains(t, out.String(), "MB/s")

	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	assert.False(t, newProgress(file).terminal, "a file is not a terminal")
	require.NoError(t, file.Close())
}
