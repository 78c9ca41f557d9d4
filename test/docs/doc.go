// Package docs holds the documentation to what the program does. It has tests only.
//
// # Commands
//
// A fenced block tagged
//
//	```bash run
//
// is executed. The blocks of a page run in order in one bash with set -euo pipefail,
// in an empty directory, against a rig; KUBECONFIG, KEYWRIGHT_ADDRESS and a PATH with
// kubectl are set. A block tagged
//
//	```text output
//
// says what the block before it prints, standard error included. It is compared line
// by line, and loosely: runs of spaces are one space, every UUID, time and age is as
// good as another, and "..." stands for anything. Pages share the rig, so each uses
// namespaces of its own.
//
// # References
//
// Every reason, flag, metric and chart value is looked up in the code and must be on
// the page where people look for it, and the other way round for chart values.
package docs
