package pgserver

import "syscall"

// attributes of the server's process: its own user and process group, so that a
// ctrl-C at the terminal reaches only the parent, and an immediate shutdown when
// the parent dies without stopping it.
func attributes(cred *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: cred, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}
