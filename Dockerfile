# The server. By itself it has its embedded back ends, and in a container there is usually no right to make namespaces,
# so that tools run without isolation: one trusted user, on loopback. To serve more people give it what bwrap and pasta
# need, or the Kubernetes back ends as deploy/kubernetes does.
FROM docker.io/library/node:24-bookworm-slim AS build
WORKDIR /opt/toolforge-push
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make python3 \
 && rm -rf /var/lib/apt/lists/*
COPY package.json package-lock.json .npmrc ./
COPY src/install src/install
# The image brings its own Node: the packages are for machines with an older one.
RUN npm ci --omit=dev \
 && rm -rf node_modules/node-linux-* node_modules/.bin/node

# In one layer, whatever changes.
FROM scratch AS source
COPY package.json LICENSE README.md /
COPY src /src
COPY hooks /hooks
COPY buildpacks /buildpacks

FROM docker.io/library/node:24-bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends git perl python3 python3-venv bubblewrap passt util-linux iproute2 ca-certificates tar tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 push \
 && install -d -o push -g push -m 0711 /var/lib/toolforge-push \
 && install -d -o push -g push -m 0700 /etc/toolforge-push
WORKDIR /opt/toolforge-push
COPY --from=build /opt/toolforge-push/node_modules node_modules
# With a cache of compiled modules, Node does not load its parser of TypeScript. With one arena of malloc(3), the server
# needs less memory.
ENV NODE_ENV=production \
    MALLOC_ARENA_MAX=1 \
    NODE_COMPILE_CACHE=/var/lib/toolforge-push/compile-cache \
    TOOLFORGE_PUSH_DATA=/var/lib/toolforge-push \
    TOOLFORGE_PUSH_KEYS=/etc/toolforge-push
VOLUME ["/var/lib/toolforge-push", "/etc/toolforge-push"]
EXPOSE 2222 8080
# Only a server that is stuck is to be started again: a full disk would be as full afterwards.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["node", "src/cli/health.ts", "--live"]
# Children whose parent has ended come to process 1, which Node is not made for.
ENTRYPOINT ["tini", "--", "node", "src/main.ts"]
COPY --from=source / ./
# By number, so that Kubernetes can tell that it is not root.
USER 10001
