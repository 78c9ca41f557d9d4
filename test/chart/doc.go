// Package chart holds the tests of charts/keywright and config/default: what they
// render, and what a real API server makes of it.
package chart
