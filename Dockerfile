# syntax=docker/dockerfile:1
#
# One image with both programs: pannier, which runs unless another is named, and pannier-control.
#
#   docker build -t pannier .
#   docker build -t pannier --build-arg GO=1.26 --build-arg VERSION=0.1.0 --platform linux/arm64 .
#
# There is no shell and no file but the two programs, what they trust on the way out (webhooks
# beyond loopback), the zones that schedules may name and an empty directory for the journal.
# `pannier version --sbom` says what they are made of.

ARG GO=1.26

FROM --platform=$BUILDPLATFORM golang:${GO} AS build
ARG TARGETOS TARGETARCH
ARG VERSION=0.1.0
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Neither where it is built nor when is in the programs: the same source gives the same bytes.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -tags=grpcnotrace -ldflags="-s -w -buildid= -X pannier/cmd/build.stamped=$VERSION" -o /out/ ./cmd/pannier ./cmd/pannier-control
RUN mkdir -m 0700 /out/data && cp "$(go env GOROOT)/lib/time/zoneinfo.zip" /out/zoneinfo.zip

FROM scratch
LABEL org.opencontainers.image.title="Pannier" \
      org.opencontainers.image.description="Sidecar that delivers intents between services, durably" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/pannier /out/pannier-control /out/zoneinfo.zip /
COPY --from=build --chown=65532:65532 /out/data /var/lib/pannier
ENV PANNIER_JOURNAL=/var/lib/pannier
ENV ZONEINFO=/zoneinfo.zip
USER 65532:65532
VOLUME /var/lib/pannier
EXPOSE 7401 7410
STOPSIGNAL SIGTERM
ENTRYPOINT ["/pannier"]
CMD ["run"]
