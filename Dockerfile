# The image of controller and server: one static binary and nothing else.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=v0.0.0-dev
ARG COMMIT=unknown
RUN make build VERSION="$VERSION" COMMIT="$COMMIT"

FROM scratch
COPY --from=build /src/bin/keywright /keywright
# Any unprivileged user does; the chart names the same one.
USER 65532:65532
ENTRYPOINT ["/keywright"]
