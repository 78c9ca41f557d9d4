//go:build race

package software

// raceEnabled says that the race detector makes everything ten times slower.
const raceEnabled = true
