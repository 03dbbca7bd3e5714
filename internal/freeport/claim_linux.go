package freeport

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// claim binds a port without listening on it. The socket binds without SO_REUSEADDR,
// which fails while anybody has the port, and takes the option up afterwards, which
// lets servers, who all set it, bind the same port (socket(7)).
func claim(port int) (io.Closer, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	socket := os.NewFile(uintptr(fd), "claim of "+Address(port))
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err != nil {
		_ = socket.Close() // a claim that never was
		return nil, err
	}
	return socket, nil
}
