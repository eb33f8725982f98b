package chdb

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Exception is an error of the engine, as a server words it.
type Exception struct {
	Code int
	Text string // "Code: 60. DB::Exception: ... (UNKNOWN_TABLE)"
}

func (e *Exception) Error() string { return e.Text }

func newException(code int, name, message string) *Exception {
	return &Exception{Code: code, Text: fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, message, name)}
}

var (
	exceptionPrefix = regexp.MustCompile(`^(?:Error: )?((?:Code: (\d+)\. DB::Exception: )+)`)
	versionSuffix   = regexp.MustCompile(`\s*\(version [^)]*(?:\([^)]*\))?\)\s*$`)
)

// parseException reads the engine's text. The library wraps some errors in
// themselves ("Code: 241. DB::Exception: Code: 241. ...") and appends the version
// to some; a client should see one form.
func parseException(text string) *Exception {
	text = versionSuffix.ReplaceAllString(strings.TrimSpace(text), "")
	m := exceptionPrefix.FindStringSubmatchIndex(text)
	if m == nil {
		return newException(1001, "STD_EXCEPTION", strings.TrimSuffix(text, "."))
	}
	code := text[m[4]:m[5]] // the innermost: the group keeps its last repetition
	number, err := strconv.Atoi(code)
	if err != nil {
		number = 1002
	}
	return &Exception{Code: number, Text: "Code: " + code + ". DB::Exception: " + text[m[3]:]}
}

// statusOf has the errors that ClickHouse answers with another status than 500,
// by code. The names beside them are checked against the engine's by a test.
var statusOf = map[int]struct {
	name   string
	status int
}{
	194: {"REQUIRED_PASSWORD", http.StatusUnauthorized},
	192: {"UNKNOWN_USER", http.StatusForbidden},
	193: {"WRONG_PASSWORD", http.StatusForbidden},
	497: {"ACCESS_DENIED", http.StatusForbidden},
	512: {"SET_NON_GRANTED_ROLE", http.StatusForbidden},
	516: {"AUTHENTICATION_FAILED", http.StatusForbidden},

	6:   {"CANNOT_PARSE_TEXT", http.StatusBadRequest},
	8:   {"THERE_IS_NO_COLUMN", http.StatusBadRequest},
	15:  {"DUPLICATE_COLUMN", http.StatusBadRequest},
	25:  {"CANNOT_PARSE_ESCAPE_SEQUENCE", http.StatusBadRequest},
	26:  {"CANNOT_PARSE_QUOTED_STRING", http.StatusBadRequest},
	27:  {"CANNOT_PARSE_INPUT_ASSERTION_FAILED", http.StatusBadRequest},
	36:  {"BAD_ARGUMENTS", http.StatusBadRequest},
	37:  {"UNKNOWN_ELEMENT_IN_AST", http.StatusBadRequest},
	38:  {"CANNOT_PARSE_DATE", http.StatusBadRequest},
	41:  {"CANNOT_PARSE_DATETIME", http.StatusBadRequest},
	44:  {"ILLEGAL_COLUMN", http.StatusBadRequest},
	53:  {"TYPE_MISMATCH", http.StatusBadRequest},
	62:  {"SYNTAX_ERROR", http.StatusBadRequest},
	72:  {"CANNOT_PARSE_NUMBER", http.StatusBadRequest},
	117: {"INCORRECT_DATA", http.StatusBadRequest},
	123: {"UNKNOWN_TYPE_OF_AST_NODE", http.StatusBadRequest},
	167: {"TOO_DEEP_AST", http.StatusBadRequest},
	168: {"TOO_BIG_AST", http.StatusBadRequest},
	223: {"UNEXPECTED_AST_STRUCTURE", http.StatusBadRequest},
	321: {"VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", http.StatusBadRequest},
	376: {"CANNOT_PARSE_UUID", http.StatusBadRequest},
	427: {"CANNOT_COMPILE_REGEXP", http.StatusBadRequest},
	441: {"CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING", http.StatusBadRequest},
	675: {"CANNOT_PARSE_IPV4", http.StatusBadRequest},
	676: {"CANNOT_PARSE_IPV6", http.StatusBadRequest},

	46:  {"UNKNOWN_FUNCTION", http.StatusNotFound},
	47:  {"UNKNOWN_IDENTIFIER", http.StatusNotFound},
	50:  {"UNKNOWN_TYPE", http.StatusNotFound},
	56:  {"UNKNOWN_STORAGE", http.StatusNotFound},
	60:  {"UNKNOWN_TABLE", http.StatusNotFound},
	63:  {"UNKNOWN_AGGREGATE_FUNCTION", http.StatusNotFound},
	73:  {"UNKNOWN_FORMAT", http.StatusNotFound},
	78:  {"UNKNOWN_TYPE_OF_QUERY", http.StatusNotFound},
	81:  {"UNKNOWN_DATABASE", http.StatusNotFound},
	115: {"UNKNOWN_SETTING", http.StatusNotFound},
	152: {"UNKNOWN_DIRECTION_OF_SORTING", http.StatusNotFound},
	336: {"UNKNOWN_DATABASE_ENGINE", http.StatusNotFound},
	511: {"UNKNOWN_ROLE", http.StatusNotFound},

	159: {"TIMEOUT_EXCEEDED", http.StatusRequestTimeout},
	381: {"HTTP_LENGTH_REQUIRED", http.StatusLengthRequired},
	229: {"QUERY_IS_TOO_LARGE", http.StatusRequestEntityTooLarge},
	779: {"UNSUPPORTED_MEDIA_TYPE", http.StatusUnsupportedMediaType},
	48:  {"NOT_IMPLEMENTED", http.StatusNotImplemented},
	76:  {"CANNOT_OPEN_FILE", http.StatusServiceUnavailable},
	209: {"SOCKET_TIMEOUT", http.StatusServiceUnavailable},
	439: {"CANNOT_SCHEDULE_TASK", http.StatusServiceUnavailable},
}

// httpStatus is the status that ClickHouse answers an error with.
func httpStatus(code int) int {
	if s, ok := statusOf[code]; ok {
		return s.status
	}
	return http.StatusInternalServerError
}
