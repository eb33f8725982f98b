package chdb_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
)

func TestAMissingEngineSaysWhatToDo(t *testing.T) {
	_, err := chdb.Path(t.TempDir())
	require.ErrorIs(t, err, chdb.ErrMissing)
	for _, part := range []string{"not installed", "plumbline setup", "make setup", "177 MB", "clickhouse.addr"} {
		assert.Contains(t, err.Error(), part)
	}
	t.Setenv(chdb.CacheEnv, t.TempDir())
	_, err = chdb.Path("")
	require.ErrorIs(t, err, chdb.ErrMissing, "the variable moves the cache")
}

func TestHalfALibraryIsNoLibrary(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "chdb-26.7.3-stable.1", "libchdb.so")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
	require.NoError(t, os.WriteFile(file, []byte("half"), 0o600))
	_, err := chdb.Path(dir)
	require.ErrorIs(t, err, chdb.ErrMissing)
}

func TestAnInstallThatIsGivenUpLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := chdb.Install(ctx, chdb.InstallOptions{CacheDir: dir})
	require.Error(t, err)
	files, err := filepath.Glob(filepath.Join(dir, "*", "libchdb*"))
	require.NoError(t, err)
	assert.Empty(t, files)
}

// TestManyProcessesInstallOnce fetches the real package: two at once, into a
// directory of their own.
func TestManyProcessesInstallOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches 178 MB")
	}
	dir := t.TempDir()
	outs := make([]bytes.Buffer, 2)
	var wg sync.WaitGroup
	for i := range outs {
		wg.Go(func() {
			path, err := chdb.Install(t.Context(), chdb.InstallOptions{CacheDir: dir, Progress: &outs[i]})
			if assert.NoError(t, err) {
				info, err := os.Stat(path)
				if assert.NoError(t, err) {
					assert.EqualValues(t, 566330096, info.Size())
				}
			}
		})
	}
	wg.Wait()
	all := outs[0].String() + outs[1].String()
	assert.Equal(t, 1, strings.Count(all, "Fetching the embedded ClickHouse engine"), all)
	assert.Equal(t, 1, strings.Count(all, "waiting for it"), all)
	assert.Equal(t, 1, strings.Count(all, "100 %  177.8 of 177.8 MB"), all)
	assert.NotContains(t, all, "\r", "a line of its own where there is no terminal")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	require.NoError(t, err)
	assert.Len(t, files, 2, "the library and the lock: %v", files)
}
