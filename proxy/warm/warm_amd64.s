#include "textflag.h"

#define LINE(n) PREFETCHT0 (n*64)(SP)
#define EIGHT(n) LINE(n); LINE(n+1); LINE(n+2); LINE(n+3); LINE(n+4); LINE(n+5); LINE(n+6); LINE(n+7)

// func Callers()
TEXT ·Callers(SB), NOSPLIT, $0-0
	EIGHT(0)
	EIGHT(8)
	EIGHT(16)
	EIGHT(24)
	EIGHT(32)
	RET

// func lines(p unsafe.Pointer, n uintptr)
TEXT ·lines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX
next:
	PREFETCHT0 (AX)
	ADDQ $64, AX
	DECQ CX
	JNZ next
	RET
