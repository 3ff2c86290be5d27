# A directory of people for tests: configuration and certificates are mounted, data is an empty folder.
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slapd \
 && rm -rf /var/lib/apt/lists/* /var/lib/ldap/* /etc/ldap/slapd.d/*
USER 10002:10002
ENTRYPOINT ["slapd", "-d", "0", "-f", "/etc/slapd/slapd.conf", "-h", "ldap://:1389/ ldaps://:1636/"]
