#!/bin/sh
# sendmail-cdb.sh DIR: build a sendmail and a makemap that have cdb, and no Berkeley DB, in DIR: Debian's have it the other
# way. From the source of Debian 12's, whatever release this is. Nothing is installed. A DIR that is complete is left alone.
set -eu
[ ! -e "$1/complete" ] || exit 0
rm -rf "$1"
mkdir -p "$1/lists/partial"
cd "$1"
mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' | awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
: "${mirror:?apt names no mirror of Debian: apt-get update}"
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" > sources.list
theirs() {
    apt-get -qq -o APT::Sandbox::User=root -o "Dir::Etc::sourcelist=$PWD/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o "Dir::State::lists=$PWD/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}
theirs update
theirs source --download-only sendmail
apt-get -qq -o APT::Sandbox::User=root download libcdb-dev || { apt-get -qq update; apt-get -qq -o APT::Sandbox::User=root download libcdb-dev; }
dpkg-deb -x libcdb-dev*.deb cdb
mkdir source
tar -xf sendmail_*.orig.tar.gz -C source --strip-components 1
cat > source/devtools/Site/site.config.m4 <<END
APPENDDEF(\`confMAPDEF', \`-DCDB -DSOCKETMAP -DNETINET6')dnl
APPENDDEF(\`confINCDIRS', \`-I$PWD/cdb/usr/include')dnl
APPENDDEF(\`confLIBS', \`$(echo "$PWD"/cdb/usr/lib/*/libcdb.a)')dnl
define(\`confLIBSEARCH', \`resolv')dnl
define(\`confOPTIMIZE', \`-O1 -w -std=gnu17')dnl
define(\`confLDOPTS', \`-static')dnl
END
for part in libsmutil libsm libsmdb sendmail makemap; do
    (cd source/$part && sh Build) > build.log 2>&1 || { cat build.log >&2; exit 1; }
done
cp source/obj.*/sendmail/sendmail source/obj.*/makemap/makemap .
rm -rf source lists cdb ./*.deb ./sendmail_*
touch complete
