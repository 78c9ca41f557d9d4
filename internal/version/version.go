// Package version says which build this is.
package version

// Version and Commit are set by the linker.
var (
	Version = "v0.0.0-dev"
	Commit  = "unknown"
)
