package mschap

import "testing"

// RFC 3079 §3.5.3, whose "send" is the server's. The receive key is not in the
// RFC; it was computed with two other implementations.
func TestKeysRFC3079(t *testing.T) {
	master := MasterKey(&rfcHashHash, &rfcResponse)
	if master != [16]byte(unhex("FD EC E3 71 7A 8C 83 8C B3 88 E5 27 AE 3C DD 31")) {
		t.Fatalf("MasterKey = %X", master)
	}
	send, recv := StartKeys(&master, true)
	if send != [16]byte(unhex("8B 7C DC 14 9B 99 3A 1B A1 18 CB 15 3F 56 DC CB")) {
		t.Errorf("server's send key = %X", send)
	}
	if recv != [16]byte(unhex("D5 F0 E9 52 1E 3E A9 58 96 45 E8 60 51 C8 22 26")) {
		t.Errorf("server's receive key = %X", recv)
	}
	clientSend, clientRecv := StartKeys(&master, false)
	if clientSend != recv || clientRecv != send {
		t.Error("the client's keys are not the server's crosswise")
	}
}
