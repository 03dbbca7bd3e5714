package child

import "syscall"

// attributes puts a child into a process group of its own, so that ctrl-C at the
// terminal reaches the parent alone, and ends it when the parent dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
