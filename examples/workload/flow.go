package main

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func sleep(args []string) error {
	if len(args) == 0 {
		select {}
	}
	d, err := seconds(args, 0)
	time.Sleep(d)
	return err
}

func spin(args []string) error {
	d, err := seconds(args, 0)
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
	return err
}

func exit(args []string) error {
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	d, err := seconds(args[1:], 0)
	if err != nil {
		return err
	}
	time.Sleep(d)
	os.Exit(code)
	return nil
}

func ignoreTerm([]string) error {
	signal.Ignore(syscall.SIGTERM)
	return nil
}

func exitOnTerm(args []string) error {
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	signal.Reset(syscall.SIGTERM)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		os.Exit(code)
	}()
	return nil
}

func print(args []string) error {
	say(args...)
	return nil
}

func warn(args []string) error {
	complain(strings.Join(args, " "))
	return nil
}

func tick(args []string) error {
	d, err := seconds(args, time.Second)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		say("tick", strconv.Itoa(n))
		time.Sleep(d)
	}
}

func flood(args []string) error {
	n, err := strconv.Atoi(args[0])
	for i := range n {
		say("line", strconv.Itoa(i+1))
	}
	return err
}

// pourLine is how long a line of pour is, its end included.
const pourLine = 200

func pour(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	rate, err := strconv.Atoi(args[1])
	filler := strings.Repeat(".", pourLine)
	for i, begin := 0, time.Now(); i < n; time.Sleep(time.Millisecond) {
		due := int(time.Since(begin).Seconds() * float64(rate) * 1e6 / 2 / pourLine)
		for ; i < min(n, due); i++ {
			line := "line " + strconv.Itoa(i+1) + " "
			line += filler[len(line)+1:]
			say(line)
			complain(line)
		}
	}
	return err
}

// say writes a line in one write, so that lines of several processes never
// mix.
func say(words ...string) { _, _ = os.Stdout.WriteString(strings.Join(words, " ") + "\n") }

func complain(text string) { _, _ = os.Stderr.WriteString(text + "\n") }
