package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// scalar is what YAML takes an unquoted word for.
type scalar uint8

const (
	scalarString scalar = 1 << iota
	scalarInt
	scalarFloat
	scalarBool
	anyScalar = scalarString | scalarInt | scalarFloat | scalarBool
)

// kind is a type of value: what YAML may hold for it, how it is read, and how it is written again.
type kind[T any] struct {
	name   string // in the reference
	form   string // how to write one, for the reference and as the remedy
	takes  scalar
	parse  func(string) (T, error)
	format func(T) string
	values []string // all of them, where there are few
}

// limited refuses values outside of min and max.
func limited[T cmp.Ordered](k kind[T], low, high T) kind[T] {
	parse := k.parse
	k.form = fmt.Sprintf("%s, from %s to %s", k.form, k.format(low), k.format(high))
	k.parse = func(text string) (T, error) {
		v, err := parse(text)
		switch {
		case err != nil:
			return v, err
		case v < low:
			return v, unfit{"it is less than " + k.format(low), "write " + k.form}
		case v > high:
			return v, unfit{"it is more than " + k.format(high), "write " + k.form}
		}
		return v, nil
	}
	return k
}

func durations(low, high time.Duration) kind[time.Duration] {
	return limited(kind[time.Duration]{
		name: "duration", form: "a duration such as 500ms, 10s or 7d", takes: scalarString | scalarInt | scalarFloat,
		parse: ParseDuration, format: FormatDuration,
	}, low, high)
}

func sizes(low, high Size) kind[Size] {
	return limited(kind[Size]{
		name: "size", form: "a size such as 512KiB, 100MiB or 2GB", takes: scalarString | scalarInt,
		parse: ParseSize, format: Size.String,
	}, low, high)
}

func integers(low, high int) kind[int] {
	return limited(kind[int]{name: "integer", form: "a whole number", takes: scalarInt, parse: parseInt, format: strconv.Itoa}, low, high)
}

func parseInt(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, errors.New("it is not a whole number")
	}
	return n, nil
}

func floats(low, high float64) kind[float64] {
	return limited(kind[float64]{name: "number", form: "a number", takes: scalarInt | scalarFloat, parse: parseFloat, format: formatFloat}, low, high)
}

func parseFloat(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != f {
		return 0, errors.New("it is not a number")
	}
	return f, nil
}

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

var booleans = kind[bool]{
	name: "boolean", form: "true or false", takes: scalarBool,
	parse: parseBool, format: strconv.FormatBool, values: []string{"true", "false"},
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("it is neither true nor false")
}

func texts(form string) kind[string] {
	return kind[string]{name: "text", form: form, takes: scalarString | scalarInt, parse: parseText, format: same}
}

func parseText(text string) (string, error) {
	if strings.ContainsAny(text, "\x00\n\r") {
		return "", errors.New("it has more than one line")
	}
	return text, nil
}

func same(s string) string { return s }

// IsInstanceName says whether text may stand in paths, unit names and YAML without a second thought.
func IsInstanceName(text string) bool { return len(text) <= 64 && isFlagName(text) }

// isFlagName says whether text is made of letters, digits and, after the first, of "_.-".
func isFlagName(text string) bool {
	return text != "" && isLetterOrDigit(rune(text[0])) && !strings.ContainsFunc(text, func(r rune) bool {
		return !isLetterOrDigit(r) && !strings.ContainsRune("_.-", r)
	})
}

// isVariableName says whether text is made of letters, "_" and, after the first, of digits.
func isVariableName(text string) bool {
	return text != "" && (text[0] < '0' || text[0] > '9') && !strings.ContainsFunc(text, func(r rune) bool {
		return !isLetterOrDigit(r) && r != '_'
	})
}

func isLetterOrDigit(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

var names = kind[string]{
	name: "name", form: "letters, digits, '-', '_' and '.', at most 64", takes: scalarString | scalarInt, format: same,
	parse: func(text string) (string, error) {
		if !IsInstanceName(text) {
			return "", errors.New("it cannot be part of a file's name")
		}
		return text, nil
	},
}

var paths = kind[string]{name: "path", form: "an absolute path", takes: scalarString, parse: parsePath, format: same}

func parsePath(text string) (string, error) {
	switch {
	case strings.ContainsAny(text, "\x00\n\r"):
		return "", errors.New("it has more than one line")
	case strings.HasPrefix(text, "~"):
		return "", unfit{"~ means something to a shell only", "write the path out, from /"}
	case !filepath.IsAbs(text):
		return "", unfit{"the path is relative", "write an absolute path: which folder a relative one starts from differs between a shell and a service"}
	}
	return filepath.Clean(text), nil
}

func choices[T ~string](all ...T) kind[T] {
	words := make([]string, len(all))
	for i, a := range all {
		words[i] = string(a)
	}
	form := strings.Join(words, " or ")
	parse := func(text string) (T, error) {
		for _, a := range all {
			if string(a) == text {
				return a, nil
			}
		}
		return "", unfit{"it is none of the choices", "write " + form}
	}
	return kind[T]{
		name: "choice", form: form, takes: scalarString, values: words,
		parse: parse, format: func(v T) string { return string(v) },
	}
}

var webURLs = kind[string]{
	name: "URL", form: "a URL such as http://127.0.0.1:2381", takes: scalarString, format: same,
	parse: func(text string) (string, error) {
		u, err := parseWebURL(text)
		if err != nil {
			return "", err
		}
		return u.String(), nil
	},
}

var endpoints = kind[[]*url.URL]{
	name: "list of URLs", form: "one URL or a list of them, such as [https://10.0.0.1:2379]", takes: scalarString,
	parse: parseEndpoints, format: formatEndpoints,
}

func parseEndpoints(text string) ([]*url.URL, error) {
	var all []*url.URL
	for one := range strings.SplitSeq(text, ",") {
		u, err := parseEtcdURL(one)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

func formatEndpoints(us []*url.URL) string { return strings.Join(texted(us), ",") }
