-- What came as `ciphertext` counts as received once its words are there.
create or replace trigger mark_readable after update of kind on public.messages for each row
  when (new.direction = 'in' and new.kind <> old.kind) execute function app.mark_moved_message();
