package config

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// sizeUnits in the order in which String prefers them: the largest that divides exactly.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads "100MiB", "1.5GiB", "2GB" or a plain number of bytes. KiB, MiB, GiB and TiB count in 1024, kB, MB, GB
// and TB in 1000; "100M" is refused, because people disagree about which of the two it means.
func ParseSize(text string) (Size, error) {
	text = strings.TrimSpace(text)
	cut := strings.LastIndexAny(text, "0123456789.") + 1
	number, unit := text[:cut], strings.TrimSpace(text[cut:])
	factor, err := sizeUnit(number, unit)
	if err != nil {
		return 0, err
	}
	return scaleSize(number, factor)
}

func sizeUnit(number, unit string) (int64, error) {
	if unit == "" {
		return 1, nil
	}
	for _, u := range sizeUnits {
		if strings.EqualFold(unit, u.name) {
			return u.bytes, nil
		}
	}
	if len(unit) == 1 && strings.ContainsAny(unit, "kKmMgGtT") && len(number) <= maxDigits {
		up := number + strings.ToUpper(unit)
		return 0, unfit{"the unit " + unit + " may mean 1000 or 1024", "write " + up + "iB (1024) or " + up + "B (1000)"}
	}
	return 0, errors.New("it is not a size")
}

const maxDigits = 32

// scaleSize multiplies exactly: a float would turn 9007199254740993 into its neighbour.
func scaleSize(number string, factor int64) (Size, error) {
	if number == "" || len(number) > maxDigits || strings.Trim(number, "0123456789.") != "" {
		return 0, errors.New("it is not a size")
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, errors.New("it is not a size")
	}
	r.Mul(r, new(big.Rat).SetInt64(factor))
	if !r.IsInt() {
		return 0, errors.New("it is not a whole number of bytes")
	}
	if !r.Num().IsInt64() {
		return 0, errors.New("it is larger than " + Size(math.MaxInt64).String())
	}
	return Size(r.Num().Int64()), nil
}

// String writes s so that ParseSize reads the same number again.
func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	for _, u := range sizeUnits {
		if int64(s)%u.bytes == 0 && u.bytes > 1 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
