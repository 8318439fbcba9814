# popips: make install, make demo, make test. See README.md.
PREFIX = /usr/local
DESTDIR =
PYTHON = /usr/bin/python3
STAMPS = /var/lib/popips/stamps

LIB = $(PREFIX)/lib/popips
SBIN = $(PREFIX)/sbin
LIBEXEC = $(PREFIX)/libexec/popips
MAN = $(PREFIX)/share/man
DOC = $(PREFIX)/share/doc/popips
BASH = $(PREFIX)/share/bash-completion/completions
ZSH = $(PREFIX)/share/zsh/site-functions
ROOMS = popips popips/maps popips/stamps popips/db popips/probe popips/doctor popips/setup pam_hook expirer follower mapd share

VENV = .venv/bin
# whatever runs tests or servers runs under it: nothing of the host's own can be written to
COVER = tests/lab/cover.sh
FIND_BINDING = $(PYTHON) -c 'import importlib.util as u, os; \
    print(next(os.path.dirname(os.path.dirname(s.origin)) for s in map(u.find_spec, ("bsddb3", "berkeleydb")) if s))'
# what the tests and the demo run on: the real servers, and what the binding is built from for their own Python
SERVERS = sendmail-bin sendmail-base sendmail-cf m4 make dovecot-core dovecot-pop3d dovecot-imapd cron libpam-modules \
    openssh-server openssh-client redis-tools python3-redis openssl db5.3-util e2fsprogs patch strace iproute2 util-linux bsdutils procps man-db groff zsh
BUILD = git gcc libc6-dev libdb-dev python3-dev python3-venv

.PHONY: help deps files pages pictures install uninstall deb dist demo test torture bench bench-fleet clean testdeps hosts

help:
	@echo 'make deps | install | uninstall | deb | dist | demo | test | torture | bench | bench-fleet    (PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) PYTHON=$(PYTHON))'

# ---- what popips itself needs: Python and a binding to Berkeley DB
deps:
	@test -x $(PYTHON) || tests/lab/packages.sh python3
	@$(FIND_BINDING) >/dev/null 2>&1 || ! command -v apt-get >/dev/null || tests/lab/packages.sh python3-bsddb3 || \
	    tests/lab/packages.sh python3-berkeleydb || tests/lab/packages.sh $(BUILD) python3-pip

# launcher FILE,MODULE,OPTIONS: a program that runs main() of the module, by the isolated interpreter and, unless the
# options say -I alone, without site-packages;
# hook FILE,SCRIPT: a program in sh, which starts one of those
hook = sed -e '/^\# @LANE@/{r pam_hook/lane.sh' -e 'd}' -e '/^\# @LONG_WAY@/{r pam_hook/long_way.sh' -e 'd}' $(2) | \
    sed -e 's|@PYTHON@|$(PYTHON)|' -e 's|@LIB@|$(LIB)|' > '$(DESTDIR)$(1)'; chmod 0755 '$(DESTDIR)$(1)'
launcher = printf '%s\n' '\#!$(PYTHON) $(or $(3),-IS)' 'import sys' "sys.path = ['$(LIB)', *sys.path, '$(BINDING)']" \
    'from $(2) import main' 'sys.exit(main())' > '$(DESTDIR)$(1)'; chmod 0755 '$(DESTDIR)$(1)'

# files: all that is installed, into a DESTDIR that nobody runs it from, as a package is built; BINDING: where it will be
files:
	@umask 022; set -e; \
	install -d $(foreach room,$(ROOMS),'$(DESTDIR)$(LIB)/$(room)') '$(DESTDIR)$(LIB)/follower/formats' \
	    '$(DESTDIR)$(LIBEXEC)' '$(DESTDIR)$(SBIN)' $(foreach section,5 7 8,'$(DESTDIR)$(MAN)/man$(section)') '$(DESTDIR)$(DOC)' \
	    '$(DESTDIR)$(BASH)' '$(DESTDIR)$(ZSH)'; \
	install -m 0644 contrib/completion/bash/* '$(DESTDIR)$(BASH)'; \
	install -m 0644 contrib/completion/zsh/* '$(DESTDIR)$(ZSH)'; \
	for room in $(ROOMS); do install -m 0644 $$room/*.py '$(DESTDIR)$(LIB)'/$$room; done; \
	install -m 0644 follower/formats/* '$(DESTDIR)$(LIB)/follower/formats'; \
	for section in 5 7 8; do install -m 0644 man/*.$$section '$(DESTDIR)$(MAN)'/man$$section; done; \
	cp -R contrib docs README.md LICENSE CHANGELOG.md '$(DESTDIR)$(DOC)'; install -D -m 0644 bench/cost.svg '$(DESTDIR)$(DOC)/bench/cost.svg'; chmod -R u=rwX,go=rX '$(DESTDIR)$(DOC)'; \
	install -d '$(DESTDIR)$(LIB)/contrib'; \
	cp -R $(addprefix contrib/,cron.d dovecot sendmail systemd) '$(DESTDIR)$(LIB)/contrib'; \
	chmod -R u=rwX,go=rX '$(DESTDIR)$(LIB)/contrib'; \
	find '$(DESTDIR)$(LIB)' '$(DESTDIR)$(MAN)' '$(DESTDIR)$(DOC)' -type f \
	    -exec sed -i 's,/usr/local/\(libexec/popips/\|sbin/popips-\),$(PREFIX)/\1,g' {} +; \
	$(call launcher,$(SBIN)/popips-db,popips.db.main); \
	$(call launcher,$(SBIN)/popips-expire,expirer.expire); \
	$(call launcher,$(SBIN)/popips-follow,follower.follow); \
	$(call launcher,$(SBIN)/popips-mapd,mapd.mapd); \
	$(call launcher,$(SBIN)/popips-share,share.share,-I); \
	$(call launcher,$(LIB)/popips-hook,pam_hook.hook); \
	$(call launcher,$(LIB)/popips-postlogin,pam_hook.postlogin); \
	$(call hook,$(LIBEXEC)/popips-hook,pam_hook/hook.sh); \
	$(call hook,$(LIBEXEC)/popips-postlogin,pam_hook/postlogin.sh)

# Logins go on meanwhile: each file is put beside its place and renamed over it, the programs after the modules that they
# import. mkdir leaves the mode of a folder that is there alone: /usr/local/sbin is not popips' own.
install: deps
	@umask 022; set -e; stage=$$(mktemp -d); trap 'rm -rf "$$stage"' EXIT; \
	binding=$$($(FIND_BINDING) 2>/dev/null) || binding='$(LIB)'; \
	$(MAKE) -s files DESTDIR="$$stage" BINDING="$$binding"; \
	if [ "$$binding" = '$(LIB)' ]; then $(PYTHON) -m pip -q install --no-deps --target "$$stage$(LIB)" \
	    $$($(PYTHON) -c 'import sys; print("bsddb3" if sys.version_info < (3, 12) else "berkeleydb")'); fi; \
	$(PYTHON) -m compileall -q -d '$(LIB)' "$$stage$(LIB)"; \
	$(PYTHON) -I -X no_debug_ranges "$$stage$(LIB)/pam_hook/pack.py" '$(LIB)' "$$binding"; \
	cd "$$stage"; find . -type d | while read -r folder; do mkdir -p '$(DESTDIR)'/"$$folder"; done; \
	{ find . -type f ! -name 'popips-*'; find . -type f -name 'popips-*'; } | while read -r file; do \
	    cp -p "$$file" '$(DESTDIR)'/"$$file.new"; mv -f '$(DESTDIR)'/"$$file.new" '$(DESTDIR)'/"$$file"; done; \
	if [ `id -u` = 0 ]; then chown -R root:root '$(DESTDIR)$(LIB)' '$(DESTDIR)$(LIBEXEC)' '$(DESTDIR)$(DOC)'; fi; \
	test -d '$(DESTDIR)$(STAMPS)' || { mkdir -p "$$(dirname '$(DESTDIR)$(STAMPS)')"; mkdir -m 0700 '$(DESTDIR)$(STAMPS)'; }

# the map, popips.conf and the stamps stay: they are the admin's; 66: there is no map, so nobody relays by it
uninstall:
	@found=$$(cd '$(DESTDIR)/etc' && grep -RlsE --exclude='*.bak' --exclude='*~' '^[^#]*($(LIBEXEC)|$(SBIN))/popips-' \
	    dovecot pam.d cron.d systemd | sort | sed 's|^|$(DESTDIR)/etc/|'); test -z "$$found" || \
	    { echo "uninstall: take popips out of these, or a login server refuses every login, and cron has nothing to run:" \
	        $$found >&2; exit 1; }
	@test -n '$(DESTDIR)' || ! test -x '$(SBIN)/popips-db' || ! test -d '$(STAMPS)' || '$(SBIN)/popips-db' end --all || \
	    [ $$? = 66 ] || { echo "uninstall: the grants could not be ended, and would relay for ever: mend that first" >&2; exit 1; }
	rm -rf '$(DESTDIR)$(LIB)' '$(DESTDIR)$(LIBEXEC)' '$(DESTDIR)$(DOC)'
	rm -f '$(DESTDIR)$(SBIN)/popips-db' '$(DESTDIR)$(SBIN)/popips-expire' '$(DESTDIR)$(SBIN)/popips-follow' \
	    '$(DESTDIR)$(SBIN)/popips-mapd' '$(DESTDIR)$(SBIN)/popips-share'
	cd contrib/completion/bash && for file in *; do rm -f '$(DESTDIR)$(BASH)'/$$file '$(DESTDIR)$(ZSH)'/_$$file; done
	cd man && for page in *.[578]; do rm -f '$(DESTDIR)$(MAN)'/man$${page##*.}/$$page; done

# pages: the settings, in the manual page and the sample, as popips/settings.py says; and the completion of command lines
pages: .venv/made
	@$(VENV)/python -B -m man.pages
	@$(VENV)/python -B -m man.completion

# pictures: of the docs, drawn anew; the demo's is of its real output
pictures: testdeps
	@tests/lab/packages.sh graphviz
	$(COVER) $(VENV)/python -m tests.demo > docs/pictures/demo.txt
	$(VENV)/python docs/pictures/terminal.py < docs/pictures/demo.txt > docs/pictures/demo.svg; rm docs/pictures/demo.txt
	for picture in docs/pictures/*.dot; do dot -Tsvg -o "$${picture%.dot}.svg" "$$picture"; done

# ---- a package for Debian, in build/: the same to the byte from the same files, whatever the folder, the clock, the umask
PACKAGED = Makefile README.md LICENSE CHANGELOG.md bench/cost.svg contrib debian docs expirer follower man mapd pam_hook popips share

deb:
	@tests/lab/packages.sh build-essential debhelper dh-python || { echo 'make deb needs build-essential, debhelper, dh-python' >&2; exit 1; }
	@set -e; export LC_ALL=C; version=$$(dpkg-parsechangelog -S Version); tree=build/deb/popips-$$version; \
	rm -rf build/deb; mkdir -p "$$tree"; tar -c --exclude=__pycache__ $(PACKAGED) | tar -x -C "$$tree"; \
	find "$$tree" -exec touch -h -d "@$$(dpkg-parsechangelog -S Timestamp)" {} +; \
	(cd "$$tree" && dpkg-buildpackage -b -us -uc) > build/deb/log 2>&1 || { cat build/deb/log >&2; exit 1; }; \
	cp "build/deb/popips_$${version}_all.deb" build; echo "build/popips_$${version}_all.deb"

# dist: source and wheel, in build/, the same to the byte in the same way; the wheel is made of the source
DATED = find . -exec touch -h -d "@$$SOURCE_DATE_EPOCH" {} +
dist: .venv/made
	@set -e; umask 022; export LC_ALL=C TZ=UTC; python=$$(realpath -s $(VENV)/python); work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	export SOURCE_DATE_EPOCH=$$(date -d "$$(sed -n '0,/^ -- /s/^ -- .*>  //p' debian/changelog)" +%s); \
	mkdir -p build "$$work/copy"; tar -c --exclude=__pycache__ --exclude='./.*_cache' --exclude=./.git --exclude=./.venv --exclude=./.hypothesis \
	    --exclude=./build --exclude='*.egg-info' . | tar -x -C "$$work/copy"; \
	cd "$$work/copy"; chmod -R u=rwX,go=rX .; \
	"$$python" -c 'from setuptools import build_meta; build_meta.build_sdist("..")' > ../log 2>&1 || { cat ../log >&2; exit 1; }; \
	cd ..; source=$$(echo popips-*.tar.gz); tar -xzf "$$source"; cd "$${source%.tar.gz}"; $(DATED); cd ..; \
	tar -c --sort=name --owner=0 --group=0 --numeric-owner "$${source%.tar.gz}" | gzip -9n > '$(CURDIR)/build/'"$$source"; \
	cd "$${source%.tar.gz}"; "$$python" -c 'from setuptools import build_meta; build_meta.build_wheel("..")' > ../log 2>&1 || { cat ../log >&2; exit 1; }; \
	cp ../*.whl '$(CURDIR)/build/'; cd '$(CURDIR)'; ls build/"$$source" build/"$$(basename "$$work"/*.whl)"

# ---- the real thing, in a private box
testdeps:
	@tests/lab/packages.sh $(SERVERS) $(BUILD)
	@$(MAKE) -s deps .venv/made
	@tests/lab/postfix.sh .venv/postfix
	@tests/lab/sendmail-cdb.sh .venv/sendmail-cdb
	@tests/lab/unpack.sh .venv/tools 'promtool|prometheus' fail2ban mandoc # Debian 12 has promtool in prometheus

.venv/made: setup.cfg
	@$(PYTHON) -m venv .venv
	@$(VENV)/pip install -q setuptools wheel
	@$(VENV)/pip install -q -e '.[test]'
	@touch $@

# hosts: freshly installed Debians of both releases, kept for the next time
hosts: .venv/made
	@tests/lab/packages.sh debootstrap debian-archive-keyring systemd-container iproute2
	@$(VENV)/python -m tests.host.roots

demo: testdeps
	@$(COVER) $(VENV)/python -m tests.demo

test: testdeps hosts
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy
	$(COVER) $(VENV)/pytest

torture: testdeps
	@$(COVER) $(VENV)/python -m tests.torture $(SIZES)

bench: testdeps
	@tests/lab/packages.sh libdb-dev gcc perl
	@$(VENV)/pip install -q -e '.[bench]'
	@$(COVER) $(VENV)/python -m bench $(SIZES)

# bench-fleet: a hundred hosts that share their logins by one server
bench-fleet: testdeps
	@$(COVER) $(VENV)/python -m bench.fleet

clean:
	rm -rf .venv build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
