"""Dovecot's POP3 server as the benches start it."""

CONFIG = """\
protocols = pop3
listen = 127.0.0.1
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/dovecot.log
default_internal_user = daemon
default_internal_group = daemon
default_login_user = nobody
first_valid_uid = 1
{tls}
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
mail_max_userip_connections = 1000
passdb {{
  driver = passwd-file
  args = {users}
}}
userdb {{
  driver = passwd-file
  args = {users}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = {tls_port}
    ssl = yes
  }}
  service_count = {count}
  process_min_avail = {avail}
  process_limit = 1000
}}
service pop3 {{
  service_count = {count}
  process_limit = 1000
}}
"""


def config(folder, users, port, count, avail, tls_port=0, pair=None):
    """Writes a configuration into a new folder; returns its path. A process serves `count` clients, 0 any
    number, and `avail` wait for one. `pair`, certificate and key, is for `tls_port`; without it there is no TLS."""
    (folder / "state").mkdir()
    path = folder / "dovecot.conf"
    tls = f"ssl = yes\nssl_cert = <{pair[0]}\nssl_key = <{pair[1]}" if pair else "ssl = no"
    path.write_text(CONFIG.format(dir=folder, tls=tls, users=users, port=port, tls_port=tls_port, count=count,
                                  avail=avail))
    return path
