package chdb

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAnErrorOfTheEngineIsReadInEveryForm(t *testing.T) {
	for text, want := range map[string]Exception{
		"Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)":                                              {60, "Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)"},
		"Code: 27. DB::Exception: Cannot parse\n: at row 1. (X_Y) (version 26.7.2.1)":                          {27, "Code: 27. DB::Exception: Cannot parse\n: at row 1. (X_Y)"},
		"Code: 27. DB::Exception: Cannot parse. (X_Y) (version 26.7.2.1 (official build))\n":                   {27, "Code: 27. DB::Exception: Cannot parse. (X_Y)"},
		"Code: 241. DB::Exception: Code: 241. DB::Exception: Code: 241. DB::Exception: Too much. (MEMORY)":     {241, "Code: 241. DB::Exception: Too much. (MEMORY)"},
		"Error: Code: 36. DB::Exception: Streaming query is not supported for query: SHOW TABLES. (ARGUMENTS)": {36, "Code: 36. DB::Exception: Streaming query is not supported for query: SHOW TABLES. (ARGUMENTS)"},
		"Code: 395. DB::Exception: The text said: Code: 1. DB::Exception: no. (FUNCTION_THROW)":                {395, "Code: 395. DB::Exception: The text said: Code: 1. DB::Exception: no. (FUNCTION_THROW)"},
		"send_insert does not support INSERT ... SELECT (use a normal query)":                                  {1001, "Code: 1001. DB::Exception: send_insert does not support INSERT ... SELECT (use a normal query). (STD_EXCEPTION)"},
		"Code: 99999999999999999999. DB::Exception: an impossible number":                                      {1002, "Code: 99999999999999999999. DB::Exception: an impossible number"},
		"Unknown exception": {1001, "Code: 1001. DB::Exception: Unknown exception. (STD_EXCEPTION)"},
	} {
		t.Run(text, func(t *testing.T) {
			got := parseException(text)
			assert.Equal(t, want, *got)
			assert.Equal(t, want.Text, got.Error())
		})
	}
}

func TestAnErrorThatIsNotTheEnginesHasACodeToo(t *testing.T) {
	assert.Equal(t, 394, asException(context.Canceled).Code)
	assert.Equal(t, 1001, asException(errors.New("broken")).Code)
	assert.Equal(t, http.StatusInternalServerError, httpStatus(1001))
}
