package chdb_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
)

func TestAnInstallWithoutTheMeansSaysWhatIsMissing(t *testing.T) {
	t.Run("npm", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		dir := t.TempDir()
		_, err := chdb.Install(t.Context(), chdb.InstallOptions{CacheDir: dir})
		require.ErrorContains(t, err, "npm is not on this machine: install Node.js, or put the package's libchdb.so into "+dir)
	})
	t.Run("the registry", func(t *testing.T) {
		t.Setenv("npm_config_registry", "http://127.0.0.1:1/")
		t.Setenv("npm_config_fetch_retries", "0")
		_, err := chdb.Install(t.Context(), chdb.InstallOptions{CacheDir: t.TempDir()})
		require.ErrorContains(t, err, "fetch the embedded ClickHouse engine")
		assert.Contains(t, err.Error(), "127.0.0.1:1")
		assert.Contains(t, err.Error(), "ECONNREFUSED")
	})
}
