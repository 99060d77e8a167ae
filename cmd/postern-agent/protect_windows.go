package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

func stateDir() string {
	root, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0)
	if err != nil {
		root = `C:\ProgramData`
	}
	return filepath.Join(root, "Postern", "Agent")
}

// Who may do what, in the words of security descriptors: SY is SYSTEM, BA the
// administrators, BU everybody who is signed in. P keeps out what stands above. Everybody
// may leave a request (0x100116: make files, no more) and read the status.
const (
	ownACL      = "O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)"
	privateACL  = "O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
	requestsACL = "O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;;0x100116;;;BU)"
)

// protect makes the agent's directories. ProgramData lets everybody make some there, so
// that one which is there already gets a new owner, too, before anything lies in it.
func protect(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	for _, d := range []struct{ path, sddl string }{
		{dir, ownACL}, {filepath.Join(dir, privateDir), privateACL}, {filepath.Join(dir, requestsDir), requestsACL},
	} {
		if err := protectDir(d.path, d.sddl); err != nil {
			return fmt.Errorf("protect %s (as an administrator?): %w", d.path, err)
		}
	}
	return nil
}

func protectDir(path, sddl string) error {
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	err = windows.CreateDirectory(name, sa)
	if err == nil || !errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return err
	}
	// A link would lead the key elsewhere.
	attributes, err := windows.GetFileAttributes(name)
	if err != nil {
		return err
	}
	if attributes&windows.FILE_ATTRIBUTE_DIRECTORY == 0 || attributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return errors.New("it is no directory")
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	return windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, owner, nil, dacl, nil)
}

// become runs a command and ends as it does: Windows cannot put it in this program's
// place.
func become(path string, args []string) error {
	cmd := exec.Command(path, args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitStatus(exit.ExitCode())
	}
	return err
}

// dialler is the command that dials a connection of the system's.
func dialler(name string) []string { return []string{"rasdial", name} }
