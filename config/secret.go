package config

import (
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// Masked stands for a secret wherever a value is shown.
const Masked = "****"

var (
	secretVariable = pattern(`(?i)PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|PRIVATE|_KEY$|^KEY$`)
	secretValue    = pattern(`(?i)(?:password|passwd|secret|credential|discovery-user)["']?\s*[:=]\s*(\S.*)$`)
	userinfo       = pattern(`://[^/?#\s"']*@`)
)

// pattern is compiled when it is first wanted: most are for faults only, and what the daemon has compiled, it holds for good.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// secretSetting says whether the value of a setting must not be shown. The keys of etcdsup itself name files with
// secrets, never secrets; but etcd has flags that hold one, and a variable may hold anything.
func secretSetting(name string) bool {
	key, entry := resolve(name)
	switch {
	case key == nil || entry == "":
		return false
	case key.Name == keyArgs:
		return secretFlag(entry)
	}
	return secretVariable().MatchString(entry)
}

func secretFlag(flag string) bool {
	return flag == "discovery-password" || flag == "discovery-user" || strings.HasSuffix(flag, "-password")
}

// withoutUserinfo hides the user and the password in URLs. The text stays as long as it was, so that a caret still fits.
func withoutUserinfo(text string) string {
	return userinfo().ReplaceAllStringFunc(text, func(found string) string {
		return "://" + strings.Repeat("*", utf8.RuneCountInString(found)-len("://@")) + "@"
	})
}

// withoutSecrets is for lines of which it is not known yet what they mean, as those beside a fault of YAML's grammar.
func withoutSecrets(line string) string {
	line = withoutUserinfo(line)
	if found := secretValue().FindStringSubmatchIndex(line); found != nil {
		line = line[:found[2]] + strings.Repeat("*", utf8.RuneCountInString(line[found[2]:]))
	}
	return line
}
