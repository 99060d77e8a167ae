# Images of Postern: a node, a service, and the operator's tool with what the lab of
# docker-compose.yml needs besides. For any builder, the one of before BuildKit too;
# where no registry is reachable, deploy/compose/local-images makes what FROM names.
#
#   docker build --target gateway -t postern/gateway .
#   docker build --target radiusd -t postern/radiusd .

# The toolchain of go.mod.
ARG GO=1.26.8

FROM golang:${GO}-bookworm AS build
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false
ARG GOPROXY=https://proxy.golang.org,direct
WORKDIR /src
COPY go.mod go.sum ./
COPY authz authz
COPY cmd cmd
COPY internal internal
COPY policy policy
COPY pptp pptp
COPY radiusd radiusd
COPY deploy/compose/filecap deploy/compose/filecap
# No shell: all that this stage asks of its image is the toolchain.
RUN ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", "/out/bin/", "./cmd/postern", "./cmd/postern-gateway", "./cmd/postern-radiusd"]
# A node that is not root gets its two capabilities from its file: Docker gives a
# container's user no others.
RUN ["go", "run", "./deploy/compose/filecap", "/out/bin/postern-gateway", "/out/gateway", "/out/state"]

# A node. --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW --device /dev/net/tun,
# and a configuration at /etc/postern/gateway.yaml; not with no-new-privileges, which
# takes the file's capabilities away.
FROM scratch AS gateway
# A directory: the builder of before BuildKit loses the capabilities of a single file.
COPY --from=build /out/gateway/ /
COPY --from=build --chown=65532:65532 /out/state /var/lib/postern
USER 65532:65532
VOLUME /var/lib/postern
EXPOSE 1723 9101
ENTRYPOINT ["/postern-gateway", "-config", "/etc/postern/gateway.yaml"]

# A service: no capability, and a configuration at /etc/postern/radiusd.yaml.
FROM scratch AS radiusd
COPY --from=build /out/bin/postern-radiusd /postern-radiusd
COPY --from=build --chown=65532:65532 /out/state /var/lib/postern
USER 65532:65532
VOLUME /var/lib/postern
EXPOSE 2083 9102
ENTRYPOINT ["/postern-radiusd", "-config", "/etc/postern/radiusd.yaml"]

# The operator's tool, and what prepares the lab and dials in to it: our client, and
# pppd for hosts whose kernel has PPP.
FROM debian:bookworm-slim AS tools
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates curl iproute2 iputils-ping openssl ppp pptp-linux \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/bin/postern /usr/local/bin/postern
COPY deploy/compose/scripts /usr/local/lib/postern-lab
COPY deploy/compose/config /usr/local/share/postern-lab
ENV PATH=/usr/local/lib/postern-lab:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["sleep", "infinity"]
