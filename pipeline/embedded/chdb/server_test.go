package chdb_test

import (
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline/embedded/chdb/chdbtest"
)

func TestSmoke(t *testing.T) {
	addr := chdbtest.Start(t)
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{addr}, Protocol: clickhouse.HTTP})
	require.NoError(t, err)
	var one uint8
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT 1").Scan(&one))
	require.NoError(t, conn.Close())
}
