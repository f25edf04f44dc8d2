package packaging

import _ "embed"

// SysUsers is sysusers.d/etcdsup.conf, the user that the services run as.
//
//go:embed sysusers.conf
var SysUsers string

// TmpFiles is tmpfiles.d/etcdsup.conf, the folders that are there before a service has been started.
//
//go:embed tmpfiles.conf
var TmpFiles string
