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

// httpStatus is the status that ClickHouse answers an error with.
func httpStatus(code int) int {
	switch code {
	case 194: // REQUIRED_PASSWORD
		return http.StatusUnauthorized
	case 192, 193, 516, 512, 497: // UNKNOWN_USER WRONG_PASSWORD AUTHENTICATION_FAILED SET_NON_GRANTED_ROLE ACCESS_DENIED
		return http.StatusForbidden
	case 36, 427, // BAD_ARGUMENTS CANNOT_COMPILE_REGEXP
		6, 25, 26, 38, 41, 72, 441, // CANNOT_PARSE_ TEXT ESCAPE_SEQUENCE QUOTED_STRING DATE DATETIME NUMBER DOMAIN_VALUE_FROM_STRING
		675, 676, 27, 376, // CANNOT_PARSE_ IPV4 IPV6 INPUT_ASSERTION_FAILED UUID
		15, 44, 223, 220, 8, // DUPLICATE_COLUMN ILLEGAL_COLUMN UNEXPECTED_AST_STRUCTURE UNKNOWN_TYPE_OF_AST_NODE THERE_IS_NO_COLUMN
		167, 168, 62, 117, 53, 321: // TOO_DEEP_AST TOO_BIG_AST SYNTAX_ERROR INCORRECT_DATA TYPE_MISMATCH VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
		return http.StatusBadRequest
	case 60, 46, 47, 50, 56, 81, 115, 63, 73, 336, 511, 65, 78: // UNKNOWN_ TABLE FUNCTION IDENTIFIER TYPE STORAGE DATABASE SETTING AGGREGATE_FUNCTION FORMAT DATABASE_ENGINE ROLE DIRECTION_OF_SORTING TYPE_OF_QUERY
		return http.StatusNotFound
	case 189: // QUERY_IS_TOO_LARGE
		return http.StatusRequestEntityTooLarge
	case 48: // NOT_IMPLEMENTED
		return http.StatusNotImplemented
	case 209, 76, 439: // SOCKET_TIMEOUT CANNOT_OPEN_FILE CANNOT_SCHEDULE_TASK
		return http.StatusServiceUnavailable
	case 381: // HTTP_LENGTH_REQUIRED
		return http.StatusLengthRequired
	case 159: // TIMEOUT_EXCEEDED
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}
