//go:build linux

package main

func harvest(m *measurement) error     { return nil }
func slab(m *measurement) error        { return nil }
func memory(m *measurement) error      { return nil }
func round(m *measurement) error       { return nil }
