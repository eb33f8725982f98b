package chdb_test

import (
	"os"
	"testing"

	"github.com/plumbline-sec/plumbline/pipeline/embedded/chdb/chdbtest"
)

func TestMain(m *testing.M) { os.Exit(chdbtest.Main(m)) }
