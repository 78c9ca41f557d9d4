package httpapi

import (
	"context"
	"io"
	"net/http"
)

// NewHealth returns a handler of /livez, /healthz and /readyz that shows no detail.
// Live is whatever answers; nothing outside of the process makes it less so. ready
// is nil or the reason why no requests should be sent here, which is for the log.
func NewHealth(ready func(context.Context) error) http.Handler {
	mux := http.NewServeMux()
	live := func(w http.ResponseWriter, _ *http.Request) { answerHealth(w, http.StatusOK, "ok") }
	mux.HandleFunc("GET /livez", live)
	mux.HandleFunc("GET /healthz", live)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := ready(r.Context()); err != nil {
			answerHealth(w, http.StatusServiceUnavailable, "not ready")
			return
		}
		answerHealth(w, http.StatusOK, "ok")
	})
	return mux
}

func answerHealth(w http.ResponseWriter, code int, text string) {
	h := w.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["Cache-Control"] = noStore
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // who does not wait for the answer does not want it
}
